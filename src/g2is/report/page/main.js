// Puts the page together.
const main = document.getElementById("main");
header(DATA);
const parts = DATA.kind === "comparison" ? comparisonPage(DATA) : selectionPage(DATA);
emptied(main, parts);
navigation(parts);
document.documentElement.dataset.ready = "true";
performance.mark("g2is-ready");
