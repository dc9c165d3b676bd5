# The usual words for what scripts/ and Compose do; each of them says more about itself.
#
#   make build      the three images, of this tree
#   make test       every check and every test (as root; it starts a Docker engine of its own)
#   make demo       the main use, end to end, on a sample stack
#   make compose    Backrest with the sidecar beside it, by the images of this version
.POSIX:
.PHONY: build test demo compose

build:
	docker build --target sidecar --tag backrest-sidecar .
	docker build --target runner --tag backrest-runner .
	docker build --target runner-all --tag backrest-runner-all .

test:
	scripts/test

demo:
	scripts/demo

compose:
	docker compose up --detach
