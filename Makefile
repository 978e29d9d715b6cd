# Two commands: `make run` runs the server, `make test` checks everything. Both install what they need on Debian 12.
#
#   make run                          for localhost, with its data in ./run (as root: a user `martlet`, /var/lib/martlet, /etc/martlet)
#   make run DOMAIN=chat.example.org  for a domain of yours; the first run decides
#   make run CALLS=yes                with coturn beside it, for calls through firewalls
DOMAIN ?= localhost
CALLS ?=

.PHONY: run test build fuzz bench converse
run:
	@CALLS="$(CALLS)" scripts/run "$(DOMAIN)"
test:
	@scripts/check
build:
	@scripts/install-packages run
	swift build -c release --product martlet
fuzz:
	@scripts/fuzz
bench:
	@scripts/bench
converse:
	@scripts/converse
