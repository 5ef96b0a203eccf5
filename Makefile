# Everything that is done with this project; CI runs the same targets as a person.

CARGO ?= cargo
KUBECTL ?= kubectl
HELM ?= helm
NAMESPACE ?= headcount
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE ?= headcount:$(VERSION)
# Further arguments: make run ARGS='--listen 127.0.0.1:9443', make bench ARGS=--quick.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help build run test bench lint sbom fmt image release deploy undeploy clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

build: ## Build the program for use: target/release/headcount
	@.ci/prerequisites cargo cc
	$(CARGO) build --release --locked --bin headcount

run: ## Run the demo: an embedded cluster, fresh certificates, curl commands to paste; ends on Ctrl-C
	@.ci/prerequisites cargo cc
	$(CARGO) run --locked --bin headcount -- demo $(ARGS)

test: ## Run every test, those on a real Kubernetes control plane included (built once, some minutes)
	@.ci/prerequisites cargo cc c++ go curl openssl node chromium certutil
	@.ci/test

bench: ## Measure against a Go server and the libraries' limit; ARGS=--quick takes three minutes, ARGS=--help tells more
	@.ci/prerequisites cargo cc go
	$(CARGO) run --quiet --release --locked --package bench --bin bench -- $(ARGS)

lint: ## Check formatting, lints, documentation, scripts, images, workflows, licences and sources, and the chart
	@.ci/prerequisites cargo cc go
	@.ci/lint

sbom: ## Write what the program is made of (CycloneDX): target/headcount.cdx.json
	@.ci/prerequisites cargo
	@mkdir -p target
	@.ci/sbom >target/headcount.cdx.json

fmt: ## Format everything
	@.ci/prerequisites cargo
	@.ci/lint --fix

image: ## Build the image with docker, podman or buildah: IMAGE=…, COLLECTOR=1 for the log sidecar's, ARGS='--platform …'
	@IMAGE='$(if $(filter file,$(origin IMAGE)),,$(IMAGE))' COLLECTOR='$(COLLECTOR)' deploy/image $(ARGS)

release: ## Build all of a release into target/release-VERSION: program, image, chart, checksums, …; DIRTY=1 for a trial
	@DIRTY='$(DIRTY)' OUT='$(OUT)' PROGRAM='$(PROGRAM)' .ci/release

deploy: ## Install or upgrade the chart in kubectl's cluster: IMAGE=…, VALUES=files, CERTIFICATES=folder, NAMESPACE=…, ARGS=for helm
	@IMAGE='$(IMAGE)' VALUES='$(VALUES)' CERTIFICATES='$(CERTIFICATES)' NAMESPACE='$(NAMESPACE)' HELM='$(HELM)' KUBECTL='$(KUBECTL)' \
		deploy/deploy $(ARGS)

undeploy: ## Remove from kubectl's cluster what deploy put there, its namespace included: NAMESPACE=…
	@NAMESPACE='$(NAMESPACE)' HELM='$(HELM)' KUBECTL='$(KUBECTL)' deploy/undeploy

clean: ## Remove what was built here (the cache folder with the control plane and the linters stays)
	$(CARGO) clean
