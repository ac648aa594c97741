#!/bin/sh
# g2is on all GPUs of this machine: the warm-up data-parallel, then the rows, each process its share.
# On several machines start this on each, with the same RDZV, and the store and run folder on a file system that all
# see: NODES=4 RDZV=first-machine:29400 sh torchrun.sh
# On a CPU: PROCESSES=2 DEVICE=cpu sh torchrun.sh
set -eu
POOL=${POOL:-pool.jsonl} TARGET=${TARGET:-target.jsonl} MODEL=${MODEL:-meta-llama/Llama-3.2-1B} RUN=${RUN:-runs/first}
NODES=${NODES:-1} PROCESSES=${PROCESSES:-gpu} DEVICE=${DEVICE:-auto} BUDGET=${BUDGET:-1%}

if [ "$NODES" = 1 ]; then set -- --standalone; else set -- --rdzv-backend c10d --rdzv-endpoint "$RDZV"; fi
exec torchrun "$@" --nnodes "$NODES" --nproc-per-node "$PROCESSES" -m g2is select "$POOL" "$TARGET" \
  --model "$MODEL" --budget "$BUDGET" --device "$DEVICE" --out "$RUN" --store "${STORE:-$RUN/store}" ${SETTINGS:-}
