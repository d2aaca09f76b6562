"""Export of segmentation networks: SavedModel, Keras file, TFLite and ONNX."""

from hamgan.segmentation.export.exporter import check_export as check_export
from hamgan.segmentation.export.exporter import export_network as export_network
