// Tables sort by a click on a heading. Where a page has a search field, it and the
// verdicts above choose the rows and cards that are shown.
(() => {
  const key = (row, i) => row.cells[i]?.dataset.sort ?? "";
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, i) => head.querySelector("button")?.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(h => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const x = key(a, i), y = key(b, i), order = compare(x, y);
        return up || x === "" || y === "" ? order : -order;
      });
      table.tBodies[0].append(...rows);
    }));
  }

  const search = document.getElementById("search");
  if (!search) return;
  const shown = [...document.querySelectorAll("[data-verdict]")];
  const rows = shown.filter(e => e.matches("tr"));
  const count = document.getElementById("count");
  const chosen = new Set();
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = e => (!chosen.size || chosen.has(e.dataset.verdict)) && words.every(w => e.dataset.words.toLowerCase().includes(w));
    shown.forEach(e => e.hidden = !fits(e));
    const left = rows.filter(e => !e.hidden).length;
    count.textContent = left < rows.length ? `${left} of ${rows.length}` : "";
  };
  search.addEventListener("input", filter);
  for (const item of document.querySelectorAll(".tally li")) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(...item.childNodes);
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      chosen[on ? "add" : "delete"](item.dataset.tally);
      filter();
    });
    item.append(button);
  }
  search.hidden = rows.length < 2;
})();
