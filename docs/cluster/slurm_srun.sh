#!/bin/bash
#SBATCH --job-name=g2is
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
# One job with a task a GPU: srun says to each which part is its own.
#   sbatch --export=ALL,POOL=…,TARGET=…,MODEL=…,OUT=… slurm_srun.sh
set -euo pipefail
srun --kill-on-bad-exit=0 g2is gradients "$POOL" "$TARGET" --model "$MODEL" --out "$OUT"
g2is select "$POOL" "$TARGET" --model "$MODEL" --out "$OUT" --budget 1%
