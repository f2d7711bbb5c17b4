# casemix: build, demo and tests. `make help` lists the targets.
#
#   make            the program build/casemix and the library build/libcasemix.a
#   make demo       set up, build, and code the example notes with the shipped model
#   make check      set up, build and run the whole test suite
#   make fuzz       every parser of outside files under libFuzzer, FUZZ_SECONDS=600 each, FUZZ_JOBS=1 at a time
#   make load       load on `casemix serve`: 32 clients for LOAD_SECONDS=60 a part, against predict alone
#   make kills      KILLS=40 runs killed at random moments and resumed to the straight run's bytes
#   make scaling    DRG-Sapphire's scaling law in small, for hours; goes on where it stopped (scripts/scaling.sh)
#   make ablation   the first paper's comparison and its improvements, for hours; the same (scripts/ablation.sh)
#   make install    program, library, models, recipes, manual pages, completion and service under PREFIX=/usr/local (DESTDIR=…)
#   make uninstall  takes away what install put there
#   make deb        Debian packages in build/deb, for any machine of this architecture (docs/install.md)
#   make web        make the page of `casemix report` anew (needs Node.js and npm; the page is in the repository)
#   make web-app    make the page of `casemix serve` anew (the same)
#   make check-page drive the page of `casemix serve` with Chromium (needs chromium, Node.js and npm)
#
# Variables: CC=clang, SAN=1 (ASan + UBSan), PORTABLE=1 (no AVX), WERROR=1 (warnings are errors),
# MPI=1 (runs on many machines, docs/cluster.md; in build/variant-mpi), B=DIR (output folder),
# TESTS="test_train …" (only these), FLOORS="base drg" (only these folders of src/, to work on one floor).

SAN ?= 0
PORTABLE ?= 0
WERROR ?= 0
MPI ?= 0
variant := $(if $(filter 1,$(MPI)),-mpi)$(if $(filter 1,$(SAN)),-san)$(if $(filter 1,$(PORTABLE)),-portable)$(if $(findstring clang,$(CC)),-clang)
B ?= build$(if $(variant),/variant$(variant))
FLOORS ?= base drg data tokenizer tensor model generate train eval serve api cli

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes
# clang warns where it leaves an `omp simd` loop scalar; that is a matter of speed, not of the code.
WARNINGS += $(if $(findstring clang,$(CC)),-Wno-pass-failed)
# HARDEN=1 is what Debian builds packages with; paths of the build are left out, so that the same source gives the same bytes.
HARDEN ?= 0
HARDENED := $(if $(filter 1,$(HARDEN)),-fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wformat -Werror=format-security -ffile-prefix-map=$(CURDIR)=.)
# With sanitizers little is optimised: that is compiled in half the time, and what is undefined still shows.
OPTIMISE := $(if $(filter 1,$(SAN)),-O1,-O3) -g -fno-math-errno -fno-trapping-math -ffp-contract=fast
# Tuned for AMD's Zen, gcc makes no fused products of a lone chain of sums; a row's bits would then depend on its company.
OPTIMISE += $(if $(findstring clang,$(CC)),,--param=avoid-fma-max-bits=0)
MACHINE := $(if $(filter 1,$(PORTABLE)),-march=x86-64,-march=native)
comma := ,
SANITIZE := $(if $(filter 1,$(SAN)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
PACKAGED := zlib libcjson libcyaml libpcre2-8 libutf8proc libmicrohttpd sqlite3
# Of MPI-3 libraries any will do whose pkg-config name is given (MPI_PACKAGE=mpich). Its headers are the system's: our warnings
# are not for them.
MPI_PACKAGE ?= ompi-c
ifeq ($(MPI),1)
CFLAGS += -DCASEMIX_MPI $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(MPI_PACKAGE) 2>/dev/null))
LDLIBS += $(shell pkg-config --libs $(MPI_PACKAGE) 2>/dev/null)
endif
CFLAGS += -std=c17 -D_GNU_SOURCE $(OPTIMISE) $(MACHINE) $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror) \
	$(HARDENED) $(SANITIZE) -fopenmp -MMD -MP -Iinclude -Isrc -Itests $(shell pkg-config --cflags $(PACKAGED) 2>/dev/null)
LDLIBS += $(shell pkg-config --libs $(PACKAGED) 2>/dev/null) -lcsv -ldnnl -lm
LDFLAGS += $(SANITIZE) -fopenmp $(if $(filter 1,$(HARDEN)),-pie -Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now)

sources := $(foreach floor,$(FLOORS),$(wildcard src/$(floor)/*.c))
objects := $(patsubst %.c,$(B)/%.o,$(filter-out src/cli/main.c,$(sources)))
# The longest first: by and large they also run longest, and none is left to run alone at the end.
TESTS ?= $(patsubst tests/%.c,%,$(shell ls -S tests/test_*.c))
tests := $(TESTS:%=$(B)/%)
library := $(B)/libcasemix.a

.PHONY: all install uninstall install-files deb manual demo check check-page load kills scaling ablation fuzz fuzz-run setup web web-app help clean format
all: $(B)/casemix $(library)

$(B)/casemix: $(B)/src/cli/main.o $(library)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(library): $(objects)
	@rm -f $@
	ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

$(B)/test_%: $(B)/tests/test_%.o $(B)/test-support.a $(library)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

# What tests share; a program takes of it what it needs.
$(B)/test-support.a: $(addprefix $(B)/tests/,folder.o command.o small_cohort.o small_run.o served.o contract.o)
	@rm -f $@
	ar rcs $@ $^

$(B)/oracle: $(patsubst %.c,$(B)/%.o,$(wildcard tests/oracle*.c)) $(library)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The fuzzers are built apart, by clang with its sanitizers and coverage in every object.
fuzzers := $(patsubst fuzz/%.c,$(B)/%,$(wildcard fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 600
FUZZ_JOBS ?= 1

$(B)/fuzz_%: $(B)/fuzz/fuzz_%.o $(B)/fuzz/input.o $(B)/fuzz/small_model.o $(library)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(B)/seeds_write: $(B)/fuzz/seeds_write.o $(B)/fuzz/small_model.o $(library)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The catalog tables stand in the program by .incbin, which the compiler does not report as a dependency.
$(B)/src/drg/catalog_tables.o: data/ms-drg-v34.tsv data/ms-drg-v43.tsv data/title-words.tsv data/title-aliases.tsv
$(B)/src/drg/prompt_texts.o: $(wildcard data/prompts/*.txt)
$(B)/src/eval/report_page.o: web/report/page.html
$(B)/src/serve/page.o: web/app/dist/index.html web/app/dist/app.js web/app/dist/app.css src/serve/openapi.json

-include $(shell find $(B) -name '*.d' -type f 2>/dev/null)

setup:
	@sh scripts/packages.sh $(if $(filter 1,$(MPI)),packages-mpi.txt)

demo: setup
	@$(MAKE) --no-print-directory $(B)/casemix
	@sh scripts/demo.sh $(B)/casemix

check: setup
	@$(MAKE) --no-print-directory $(B)/casemix $(B)/oracle $(tests)
	@B=$(B) PORTABLE=$(PORTABLE) sh tests/run.sh $(tests)

LOAD_SECONDS ?= 60
LOAD_PARTS ?= offline full half over
$(B)/load: $(B)/bench/load.o $(B)/test-support.a $(library)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

load: $(B)/casemix $(B)/load
	@B=$(B) $(B)/load --seconds $(LOAD_SECONDS) $(LOAD_PARTS)

KILLS ?= 40
kills: $(B)/casemix $(B)/test_resume
	@CASEMIX_KILLS=$(KILLS) B=$(B) $(B)/test_resume

# SCALING_OUT, SCALING_SIZES and the others of scripts/scaling.sh, from the environment or the command line.
scaling: $(B)/casemix
	@sh scripts/scaling.sh $(B)/casemix

# ABLATION_OUT, ABLATION_STAYS and the others of scripts/ablation.sh, likewise.
ablation: $(B)/casemix
	@sh scripts/ablation.sh $(B)/casemix

fuzz: setup
	@sh scripts/packages.sh fuzz/packages.txt
	@$(MAKE) --no-print-directory fuzz-run CC=clang B=build/fuzz OPTIMISE='-O1 -g' \
		SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'

fuzz-run: $(fuzzers) $(B)/seeds_write
	@B=$(B) FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_JOBS=$(FUZZ_JOBS) sh fuzz/run.sh $(fuzzers)

# The page of `casemix report` is made from web/report with npm's packages, and kept in the repository so that building
# the program needs no npm. Once the packages are there, `make web` works offline.
web:
	@cd web/report && { [ -d node_modules ] || npm ci --no-audit --no-fund; } && node build.mjs

web-app:
	@cd web/app && { [ -d node_modules ] || npm ci --no-audit --no-fund; } && npm run --silent build

check-page: setup
	@$(MAKE) --no-print-directory $(B)/casemix
	@B=$(B) sh web/app/test/run.sh

# The time that pages and packages carry: of the last change.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH

manual: $(B)/casemix
	@sh scripts/manual.sh $(B)/casemix $(B)/manual

# Under another PREFIX all goes there, the service's files too; systemd looks in /usr/local/lib and /usr/lib.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
install: $(B)/casemix $(library) manual
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' PACKAGES='$(PACKAGED)' sh scripts/install.sh $(B)

uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' sh scripts/install.sh --remove

deb:
	@sh scripts/packages.sh packaging/packages.txt
	@$(MAKE) --no-print-directory PORTABLE=1 HARDEN=1 B=build/deb/build build/deb/build/casemix build/deb/build/libcasemix.a manual
	@PACKAGES='$(PACKAGED)' sh scripts/deb.sh build/deb/build build/deb

help:
	@sed -n '3,19p' Makefile | cut -c3-

format:
	clang-format -i $(wildcard src/*/*.[ch] include/*.h tests/*.[ch] bench/*.[ch] fuzz/*.[ch])

clean:
	rm -rf build
