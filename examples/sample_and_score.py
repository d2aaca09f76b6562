"""Images and scores of a trained run, from Python.

python examples/sample_and_score.py runs/quickstart/digits --classifier runs/quickstart/data/digits_classifier
"""

import argparse

import numpy as np

import hamgan


def main():
    """Writes samples of two classes and prints the scores of the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("--classifier", help="TF-Hub handle or SavedModel; default: the run's")
    parser.add_argument("--data_dir", help="folder of the TFDS data sets; default: the run's")
    parser.add_argument("--out", default="samples.npy", help="file of the samples")
    arguments = parser.parse_args()

    run = hamgan.load(arguments.run)
    images = run.sample(classes=["3", 7], per_class=8, seed=1, truncation=0.7)
    np.save(arguments.out, images)
    print(f"{len(images)} images of step {run.step}, {images.dtype} {images.shape}: {arguments.out}")

    # Keras models: call them, look inside, or build on them.
    inputs = run.generator.draw_inputs(seed=0, count=4)
    logits = run.discriminator(run.generator(*inputs), inputs.labels)
    print(f"Mean logit of fakes {np.mean(logits):.2f}")

    (result,) = hamgan.evaluate(run, classifier=arguments.classifier, data_dir=arguments.data_dir)
    scores = result["scores"]
    print(f"FID {scores['fid']:.2f}, IS {scores['inception_score']:.2f}, accuracy {scores['accuracy']:.1%}")


if __name__ == "__main__":
    main()
