#!/usr/bin/env bash
# On a TPU VM: creates .venv with hamgan and TensorFlow for TPUs. tensorflow-tpu replaces tensorflow there: the two must not
# be installed together. It is one minor version behind, and so are the packages that depend on TensorFlow.
#
#   scripts/setup_tpu_vm.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
TENSORFLOW_TPU=2.20.0
LIBTPU=0.0.14 # later versions lack symbols that TensorFlow 2.20 needs

python="$(find_python)"
workplace="$(mktemp -d)"
trap 'rm -rf "$workplace"' EXIT
"$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet uv
# Packages that require tensorflow do not get it, because tensorflow-tpu provides it.
cat > "$workplace/overrides.txt" << END
tensorflow ; python_version < '3'
tf-keras==${TENSORFLOW_TPU%.*}.*
tensorboard==${TENSORFLOW_TPU%.*}.*
END
grep -vE '^(tensorflow|tf-keras|tensorboard|jax|jaxlib|libtpu)==' constraints.txt > "$workplace/constraints.txt"
echo "Installing hamgan with tensorflow-tpu $TENSORFLOW_TPU"
.venv/bin/uv pip install --quiet --python .venv/bin/python --override "$workplace/overrides.txt" \
  --constraint "$workplace/constraints.txt" --editable . "tensorflow-tpu==$TENSORFLOW_TPU" "libtpu==$LIBTPU"
.venv/bin/python - << 'END'
from hamgan.program import import_tensorflow_quietly

import_tensorflow_quietly()
import tensorflow as tf

print(f"TensorFlow {tf.__version__}; this machine has {len(tf.config.list_physical_devices('TPU'))} TPU cores")
END
