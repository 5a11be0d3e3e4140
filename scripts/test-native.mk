# Builds the native tests (and, with TARGETS=fuzz, the fuzz programs) under the sanitizers.
# Called by scripts/test-native.sh and scripts/fuzz.ts from the root of the checkout:
#   make -f scripts/test-native.mk CXX=clang++ tests
#   make -f scripts/test-native.mk CXX=clang++ build/native-test/parse_test
#   make -f scripts/test-native.mk CXX=clang++ fuzz
# Objects live in build/native-test/ and build/fuzz/ with their dependency files beside them.

MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:

# Everything but the Node-API edge (addon.cc, core_wrap.cc...) and the fuzz targets.
CORE_SOURCES := $(sort $(shell find native -path native/build -prune -o -name '*.cc' \
  ! -name addon.cc ! -name '*_wrap*.cc' ! -name '*_fuzz.cc' -print))
TEST_SOURCES := $(sort $(wildcard test/native/*_test.cc))
FUZZ_SOURCES := $(sort $(wildcard native/fuzz/*_fuzz.cc))

ARCH := $(shell uname -m)
MARCH := $(if $(filter x86_64,$(ARCH)),-march=x86-64-v2)
WARNINGS := -Wall -Wextra -Werror
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# -iquote, not -I: native/limits.h must not stand in for the system's <limits.h>.
COMMON := -std=c++20 -g -O1 $(MARCH) $(WARNINGS) -fno-exceptions \
  -iquote native -iquote test/native -MD -MP

TEST_DIR := build/native-test
TEST_FLAGS := $(COMMON) $(SANITIZE)
TEST_LIB := $(TEST_DIR)/libcore.a
TEST_OBJECTS := $(CORE_SOURCES:%.cc=$(TEST_DIR)/%.o)
TESTS := $(TEST_SOURCES:test/native/%.cc=$(TEST_DIR)/%)

FUZZ_DIR := build/fuzz
FUZZ_FLAGS := $(COMMON) $(SANITIZE) -fsanitize=fuzzer-no-link \
  -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
FUZZ_LIB := $(FUZZ_DIR)/libcore.a
FUZZ_OBJECTS := $(CORE_SOURCES:%.cc=$(FUZZ_DIR)/%.o)
FUZZERS := $(FUZZ_SOURCES:native/fuzz/%.cc=$(FUZZ_DIR)/%)

.PHONY: tests fuzz list-tests list-fuzz
tests: $(TESTS)
fuzz: $(FUZZERS)
list-tests: ; @printf '%s\n' $(TESTS)
list-fuzz: ; @printf '%s\n' $(FUZZERS)

# An object is made again when the flags or the compiler change: both are in the stamp.
$(TEST_DIR)/flags: FORCE
	@mkdir -p $(@D); echo '$(CXX) $(TEST_FLAGS)' | cmp -s - $@ || echo '$(CXX) $(TEST_FLAGS)' > $@
$(FUZZ_DIR)/flags: FORCE
	@mkdir -p $(@D); echo '$(CXX) $(FUZZ_FLAGS)' | cmp -s - $@ || echo '$(CXX) $(FUZZ_FLAGS)' > $@
.PHONY: FORCE
FORCE:

$(TEST_DIR)/%.o: %.cc $(TEST_DIR)/flags
	@mkdir -p $(@D)
	$(CXX) $(TEST_FLAGS) -c -o $@ $<
$(FUZZ_DIR)/%.o: %.cc $(FUZZ_DIR)/flags
	@mkdir -p $(@D)
	$(CXX) $(FUZZ_FLAGS) -c -o $@ $<

# Archives are made anew: `ar r` alone would keep the objects of deleted files.
$(TEST_LIB): $(TEST_OBJECTS)
	@rm -f $@; ar rcs $@ $^
$(FUZZ_LIB): $(FUZZ_OBJECTS)
	@rm -f $@; ar rcs $@ $^

$(TEST_DIR)/%_test: $(TEST_DIR)/test/native/%_test.o $(TEST_LIB)
	$(CXX) $(SANITIZE) -o $@ $^
$(FUZZ_DIR)/%_fuzz: $(FUZZ_DIR)/native/fuzz/%_fuzz.o $(FUZZ_LIB)
	$(CXX) $(SANITIZE) -fsanitize=fuzzer -o $@ $^

-include $(shell find $(TEST_DIR) $(FUZZ_DIR) -name '*.d' 2>/dev/null)
