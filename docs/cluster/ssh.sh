#!/bin/bash
# Machines reached by ssh that see the same files:
#   POOL=… TARGET=… MODEL=… OUT=… ssh.sh gpu-1 gpu-2 gpu-3
# The selection at the end makes what a machine that failed has left.
set -euo pipefail
number=0
for host in "$@"; do
    number=$((number + 1))
    ssh "$host" "$(printf '%q ' g2is gradients "$POOL" "$TARGET" --model "$MODEL" --out "$OUT" \
        --worker "$number/$#")" &
done
wait
g2is select "$POOL" "$TARGET" --model "$MODEL" --out "$OUT" --budget 1%
