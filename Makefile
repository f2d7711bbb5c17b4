# casemix: build, demo and tests. `make help` lists the targets.
#
#   make            the program build/casemix and the library build/libcasemix.a
#   make demo       set up, build, and code the example notes with the shipped model
#   make check      set up, build and run the whole test suite
#   make fuzz       every parser of outside files under libFuzzer, FUZZ_SECONDS=600 each, FUZZ_JOBS=1 at a time
#   make kills      KILLS=40 runs killed at random moments and resumed to the straight run's bytes
#   make web        make the page of `casemix report` anew (needs Node.js and npm; the page is in the repository)
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
FLOORS ?= base drg data tokenizer tensor model generate train eval api cli

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes
# clang warns where it leaves an `omp simd` loop scalar; that is a matter of speed, not of the code.
WARNINGS += $(if $(findstring clang,$(CC)),-Wno-pass-failed)
OPTIMISE := -O3 -g -fno-math-errno -fno-trapping-math -ffp-contract=fast
MACHINE := $(if $(filter 1,$(PORTABLE)),-march=x86-64,-march=native)
comma := ,
SANITIZE := $(if $(filter 1,$(SAN)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
PACKAGED := zlib libcjson libcyaml libpcre2-8 libutf8proc
# Of MPI-3 libraries any will do whose pkg-config name is given (MPI_PACKAGE=mpich). Its headers are the system's: our warnings
# are not for them.
MPI_PACKAGE ?= ompi-c
ifeq ($(MPI),1)
CFLAGS += -DCASEMIX_MPI $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(MPI_PACKAGE) 2>/dev/null))
LDLIBS += $(shell pkg-config --libs $(MPI_PACKAGE) 2>/dev/null)
endif
CFLAGS += -std=c17 -D_GNU_SOURCE $(OPTIMISE) $(MACHINE) $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror) \
	$(SANITIZE) -fopenmp -MMD -MP -Iinclude -Isrc -Itests $(shell pkg-config --cflags $(PACKAGED) 2>/dev/null)
LDLIBS += $(shell pkg-config --libs $(PACKAGED) 2>/dev/null) -lcsv -ldnnl -lm
LDFLAGS += $(SANITIZE) -fopenmp

sources := $(foreach floor,$(FLOORS),$(wildcard src/$(floor)/*.c))
objects := $(patsubst %.c,$(B)/%.o,$(filter-out src/cli/main.c,$(sources)))
TESTS ?= $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
tests := $(TESTS:%=$(B)/%)
library := $(B)/libcasemix.a

.PHONY: all demo check kills fuzz fuzz-run setup web help clean format
all: $(B)/casemix $(library)

$(B)/casemix: $(B)/src/cli/main.o $(library)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(library): $(objects)
	@rm -f $@
	ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

$(B)/test_%: $(B)/tests/test_%.o $(B)/tests/folder.o $(B)/tests/command.o $(B)/tests/small_cohort.o $(B)/tests/small_run.o $(library)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

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

-include $(shell find $(B) -name '*.d' 2>/dev/null)

setup:
	@sh scripts/packages.sh $(if $(filter 1,$(MPI)),packages-mpi.txt)

demo: setup
	@$(MAKE) --no-print-directory $(B)/casemix
	@sh scripts/demo.sh $(B)/casemix

check: setup
	@$(MAKE) --no-print-directory $(B)/casemix $(B)/oracle $(tests)
	@B=$(B) PORTABLE=$(PORTABLE) sh tests/run.sh $(tests)

KILLS ?= 40
kills: $(B)/casemix $(B)/test_resume
	@CASEMIX_KILLS=$(KILLS) B=$(B) $(B)/test_resume

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

help:
	@sed -n '3,13p' Makefile | cut -c3-

format:
	clang-format -i $(wildcard src/*/*.[ch] include/*.h tests/*.[ch] bench/*.[ch] fuzz/*.[ch])

clean:
	rm -rf build
