#!/bin/bash
#SBATCH --job-name=g2is-gradients
#SBATCH --array=1-8
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --requeue
# Eight parts, in any order; sbatch --array=3 with the same starts the third again. For another number give both
# --array=1-N and PARTS=N (SLURM's own count is of the tasks that were started now). Then the selection, which waits for all of them:
#   sbatch --export=ALL,POOL=…,TARGET=…,MODEL=…,OUT=… slurm_array.sh
#   sbatch --export=ALL,POOL=…,TARGET=…,MODEL=…,OUT=… --dependency=singleton --job-name=g2is-gradients --gpus=1 \
#       --wrap 'g2is select "$POOL" "$TARGET" --model "$MODEL" --out "$OUT" --budget 1% --wait'
set -euo pipefail
g2is gradients "$POOL" "$TARGET" --model "$MODEL" --out "$OUT" \
    --worker "$SLURM_ARRAY_TASK_ID/${PARTS:-8}"
