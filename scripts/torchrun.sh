#!/usr/bin/env bash
# One training over several machines that share a disk. On each, with its number as NODE:
#   NODES=2 NODE=0 HEAD=first-machine scripts/torchrun.sh train-unet run=mine ...
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes "$NODES" --node-rank "$NODE" --nproc-per-node "${PROCESSES:-gpu}" \
    --master-addr "$HEAD" --master-port "${PORT:-29500}" -m -- dmtool "$@"
