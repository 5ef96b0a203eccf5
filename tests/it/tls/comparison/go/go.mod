module headcount/verdicts

go 1.26.0
