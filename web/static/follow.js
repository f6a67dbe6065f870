// Links that MLflow's client prints have the page in their fragment, which no server sees.
if (location.hash.startsWith("#/")) {
  location.replace("/follow?to=" + encodeURIComponent(location.hash.slice(1)));
}
