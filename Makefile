# eventstore: an ordinary PGXS extension.
#
#   make, make install, make installcheck    as for any PostgreSQL extension
#   make demo, make test                     everything, from a fresh machine
#   make help                                the other targets
#
# PG_CONFIG chooses the server: make PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config

EXTENSION   = eventstore eventstore_message_db
MODULE_big  = eventstore
# Objects may be made in another folder: make -f .../Makefile
top        := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))
OBJS        = $(patsubst $(top)/%.c,%.o,$(sort $(wildcard $(top)/src/*.c)))
DATA        = $(patsubst $(top)/%,%,$(foreach name,$(EXTENSION),$(wildcard $(top)/sql/$(name)--*.sql)))
PGFILEDESC  = "eventstore - conditional appends for event sourcing"

# ":=", so that PGXS sees an empty list as "no such tests" and skips that kind.
REGRESS        := $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS   = --encoding=UTF8 --inputdir=test --outputdir=. --load-extension=$(MODULE_big)
# The pause specs need the testing build, see src/testing.h; "make test" runs them.
ISOLATION      := $(filter-out pause-%,$(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec))))
# --outputdir=. lets the specs share the top-level expected/.
ISOLATION_OPTS = --encoding=UTF8 --inputdir=test --outputdir=. --load-extension=$(MODULE_big)
TAP_TESTS      := $(if $(wildcard test/t/*.pl),1)
PROVE_TESTS    ?= test/t/*.pl

EXTRA_CLEAN = results regression.diffs regression.out tmp_check output_iso

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# The scripts behind demo, test and lint install what is missing, so those
# targets must work where there is no PGXS yet.
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# PGXS does not know which objects depend on our headers.
$(OBJS) $(OBJS:.o=.bc): $(wildcard $(top)/src/*.h) | $(CURDIR)/src
$(CURDIR)/src:
	mkdir $@

# The tests and what they must print are here; elsewhere there would be no tests.
installcheck: in-place
in-place:
	@[ '$(realpath $(top))' = '$(CURDIR)' ] || { echo 'installcheck runs in $(realpath $(top))' >&2; exit 1; }
else
all install uninstall installcheck:
	@echo '$(PG_CONFIG) knows no PGXS: install postgresql-server-dev-NN, or give PG_CONFIG=...' >&2; exit 1
clean:
	rm -rf $(OBJS) $(OBJS:.o=.bc) $(MODULE_big).so $(EXTRA_CLEAN)
endif

.DEFAULT_GOAL := all

# As PGXN wants the zip and the folder in it: the name and version of META.json.
DISTNAME = eventstore-$(shell sed -n 's/^   "version": "\(.*\)",$$/\1/p' META.json)

# PG_CONFIG reaches the scripts only if it was given, on the command line or in
# the environment: without it they choose a server, and install one if need be.

demo:
	@examples/demo/run

test:
	@test/tools/run

# Random clients, crashes, inputs and calls, for an hour instead of minutes.
fuzz:
	@test/tools/fuzz

# Adapters for other libraries, recipes for frameworks.
test-clients:
	@test/tools/clients

# On other majors, in a chroot; as root.
test-majors:
	@test/tools/majors $(MAJORS)

assertions:
	@test/tools/assertions

valgrind:
	@test/tools/valgrind

sanitizers:
	@test/tools/sanitizers

soak:
	@test/tools/soak $(if $(APPENDS),--appends $(APPENDS)) $(if $(CALLS),--calls $(CALLS)) \
		$(if $(DURATION),--seconds $(DURATION))

coverage:
	@test/tools/coverage

# Build every package, install and test it, in chroots; as root.
test-packages:
	@test/tools/packages

bench:
	@bench/run

lint:
	@test/tools/lint

indent:
	@test/tools/indent

# Take the results of the last "make installcheck" or "make test" as expected
# output. Read the diff before you commit it.
accept:
	@test -d results || { echo 'no results/: run "make installcheck" or "make test" first' >&2; exit 1; }
	cp results/*.out expected/

dist:
	git archive --format=zip --prefix=$(DISTNAME)/ -o $(DISTNAME).zip HEAD

help:
	@echo 'make                 build the extension'
	@echo 'make install         install it into the server of PG_CONFIG'
	@echo 'make installcheck    regress, isolation and TAP tests on a running server'
	@echo 'make demo            see it work: installs what is missing, uses a throw-away server'
	@echo 'make test            every test, the same way; ends with "N passed, N failed"'
	@echo 'make fuzz            random clients, crashes, a million inputs; takes about an hour'
	@echo 'make test-clients    the adapters and recipes of examples/, with their libraries'
	@echo 'make test-majors     make test on PostgreSQL 17 and 18 (MAJORS="newest i386": on others), in a chroot; as root'
	@echo 'make assertions      make test on a server with assertions, built from source'
	@echo 'make valgrind        SQL tests and specs under Valgrind, on that server'
	@echo 'make sanitizers      the same as assertions, under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make soak            look for leaks: a million appends in a session, every function, four minutes of all'
	@echo 'make coverage        which lines the tests reach; fails below 95 %'
	@echo 'make bench           measure appends beside hand-written SQL; takes minutes'
	@echo 'make lint            compiler warnings, static analysers, layout, scripts'
	@echo 'make indent          lay out the C files as PostgreSQL does'
	@echo 'make accept          copy results/ to expected/'
	@echo 'make dist            zip of the last commit, for PGXN'
	@echo 'make test-packages   build, install and test the packages, in chroots; as root'
	@echo 'make clean           remove what was built'
	@echo 'PG_CONFIG=/path/to/pg_config chooses the server, for every target.'

.PHONY: in-place test-packages demo test fuzz test-majors assertions valgrind sanitizers soak coverage bench lint indent accept dist help test-clients
