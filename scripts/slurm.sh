#!/usr/bin/env bash
# One training over the nodes of a SLURM job: sbatch scripts/slurm.sh train-unet run=mine ...
# A minute before the time is over, or when the job is preempted, all processes get USR1, save and
# end with 75 (stopped and resumable): the job is queued again and goes on from there.
# Every task is a process of the training, without torchrun between, which would hide the 75.
#SBATCH --job-name=dmtool
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@60
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
srun bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
    exec "${PYTHON:-python}" -m dmtool "$@"' dmtool "$@"
code=$?
if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
