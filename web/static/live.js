// The page follows the server: when its stream of events tells of something, the page is read again, and
// the parts that are not what they were take the place of the old ones. Where there is no stream it
// stays as it is. A tab that nobody sees follows nothing: a server has few streams.
const main = document.querySelector("main[data-follows]");
const settle = 300, pause = 1000, patience = 5000; // milliseconds: things happen together, and a page is work
let stream, timer, last, begun = 0;

function follow() {
  const from = new URL(main.dataset.follows, location);
  if (last) from.searchParams.set("after", last);
  stream = new EventSource(from);
  for (const kind of main.dataset.kinds.split(" ")) {
    stream.addEventListener(kind, (event) => {
      last = event.lastEventId;
      plan(Math.max(settle, begun + pause - Date.now()));
    });
  }
}

function plan(wait) {
  timer ??= setTimeout(refresh, wait);
}

async function refresh() {
  begun = Date.now();
  timer = undefined;
  try {
    const answer = await fetch(location, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (next && !exchange(next)) plan(patience);
  } catch {
    plan(patience); // the server is gone for a while
  }
}

// exchange reports whether all of the page is what it is now. What somebody is at is left alone.
function exchange(next) {
  const ours = [...main.children], theirs = [...next.children];
  if (ours.length !== theirs.length) {
    if (busy(main)) return false;
    const restore = place(main);
    main.replaceChildren(...next.childNodes);
    restore(main);
    return true;
  }
  let all = true;
  ours.forEach((old, i) => {
    if (old.isEqualNode(theirs[i])) return;
    if (busy(old)) {
      all = false;
      return;
    }
    const restore = place(old);
    old.replaceWith(theirs[i]);
    restore(theirs[i]);
  });
  return all;
}

function busy(part) {
  if (part.contains(document.activeElement)) return true;
  return [...part.querySelectorAll("input, textarea")].some((f) => f.value !== f.defaultValue || f.checked !== f.defaultChecked);
}

// place is how far a part is scrolled, and what in it is open, to be restored in another one.
function place(part) {
  const of = (root, name) => [...(root.matches(name) ? [root] : []), ...root.querySelectorAll(name)];
  const scrolled = of(part, ".scroll").map((e) => e.scrollLeft);
  const opened = of(part, "details").map((e) => e.open);
  return (next) => {
    of(next, ".scroll").forEach((e, i) => { e.scrollLeft = scrolled[i] ?? 0; });
    of(next, "details").forEach((e, i) => { e.open = opened[i] ?? e.open; });
  };
}

if (!document.hidden) follow();
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    if (!stream) follow();
    return;
  }
  stream?.close();
  stream = undefined;
});
