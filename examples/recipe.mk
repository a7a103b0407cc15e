# What the experiments in the folders beside this file have in common.
#
# Trainings go on where they were interrupted; a second make has nothing to do.

AETOOL ?= aetool
PYTHON ?= python3
OUT    ?= build
# More options for every training: TRAIN="--precision float32"
TRAIN  ?=

TABLE := $(PYTHON) $(dir $(lastword $(MAKEFILE_LIST)))table.py
TOOLS := $(dir $(lastword $(MAKEFILE_LIST)))

.DELETE_ON_ERROR:
# Models stay; what is missing of the rest is made again.
.PRECIOUS: $(OUT)/%.h5
.PHONY: all clean

all:

$(OUT):
	mkdir -p $@

clean:
	rm -rf $(OUT)
