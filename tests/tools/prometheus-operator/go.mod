// Pins prometheus-operator's CRDs. A module of its own: nothing of it is built.
module headcount/tools/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
