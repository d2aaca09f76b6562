#!/usr/bin/env bash
# Everything that ImageNet takes, at a small size, on a CPU and without ImageNet: fake tars, TFDS records, a few steps of
# hamgan_baby at 128x128, FID and IS, samples. It shows that everything works; so few steps learn nothing.
#
#   scripts/try_imagenet.sh [FOLDER]     folder of everything (default: runs/try_imagenet)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
enter_checkout runs/try_imagenet "$@"
fake="$folder/ILSVRC2012"
data="$folder/data"
run="$folder/baby"
classifier="$folder/classifier"

make_environment imagenet

echo
echo "1/5  Generating a small ImageNet: tars like the original ones, with a CMYK, a PNG and a truncated image"
if [ ! -e "$fake" ]; then
  rm -rf "$fake.incomplete"
  python -m data_prep.fake_imagenet --out "$fake.incomplete" --classes 10 --train_per_class 100 --validation_per_class 20
  mv "$fake.incomplete" "$fake"
fi

echo
echo "2/5  Preparing TFDS records: the photographs, and the fast form at 128x128"
hamgan prepare imagenet --source "$fake" --data_dir "$data" --form original 128

echo
echo "3/5  Training hamgan_baby for three steps of four images"
hamgan train --run "$run" --preset hamgan_baby --dataset imagenet_hamgan/128 --data_dir "$data" --override \
  train.global_batch=4 train.steps=3 train.steps_per_loop=1 train.checkpoint_every=3 train.image_every=0

echo
echo "4/5  Evaluating it with a classifier trained on the fake images (online, omit --classifier to use Inception)"
if [ ! -e "$classifier" ]; then
  hamgan prepare classifier --dataset imagenet_hamgan/128 --resolution 128 --steps 60 --data_dir "$data" --out "$classifier"
fi
hamgan evaluate --run "$run" --classifier "$classifier" --num_samples 200

echo
echo "5/5  Drawing samples"
hamgan sample --run "$run" --out "$folder/samples.png" --classes 0-4 --per_class 4

cat << END

Everything is in $folder:
  data/imagenet2012/5.1.0/preparation.html     report on unusual images
  baby/report.html                             the run
  samples.png                                  gray, after three steps
END
