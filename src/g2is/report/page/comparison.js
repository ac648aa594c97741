// The page of a comparison.
function comparisonPage(data) {
  return [section("overview", "What was compared", null, facts(data.facts))];
}
