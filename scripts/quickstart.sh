#!/usr/bin/env bash
# Installs hamgan, prepares the embedded digits, trains HamGAN on them, evaluates it and draws samples.
# If it is interrupted, run it again to resume.
#
#   scripts/quickstart.sh [FOLDER]     folder of data and run (default: runs/quickstart)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
enter_checkout runs/quickstart "$@"
data="$folder/data"
run="$folder/digits"

make_environment ""

echo
echo "1/4  Preparing the handwritten digits as TFDS records, and a classifier to score with"
hamgan prepare digits --data_dir "$data"

echo
echo "2/4  Training HamGAN on them"
hamgan train --run "$run" --preset digits --data_dir "$data"

echo
echo "3/4  Evaluating every checkpoint"
hamgan evaluate --run "$run" --checkpoint all --classifier "$data/digits_classifier"

echo
echo "4/4  Drawing samples"
hamgan sample --run "$run" --out "$folder/samples.png"

cat << END

Everything is in $folder:
  samples.png             samples of the trained generator, one class per row
  digits/report.html      the report: curves, scores, samples over time, config
  digits/evaluations/     FID, IS and accuracy of each checkpoint, as JSON
  digits/metrics.jsonl    the training log; digits/tensorboard/ for 'tensorboard --logdir $run'
  digits/checkpoints/     the weights
  data/                   the TFDS records and the classifier
END
