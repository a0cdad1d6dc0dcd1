"""Judges a Keras configuration as data, before Keras sees it: everything that it names is on a list.

Keras builds objects by the names in its configuration, and some names read files or run code (Lambda,
TFOpLambda, TFSMLayer, StringLookup, ``keras.utils.get_file``). So layers, ops, initializers, policies and
functions are allowed by name and module, however deep (docs/adr/0034-model-files-are-data.md).
"""

from __future__ import annotations

import json
import re
from typing import Any

from edgepose.errors import ModelError
from edgepose.runtime.wire_formats import names_in

# Layers of Keras 3 and of Keras 2 that compute on numbers only.
_LAYERS = names_in(
    """
    Functional Model Sequential InputLayer Identity Conv1D Conv2D Conv3D Convolution1D Convolution2D
    Convolution3D Conv1DTranspose Conv2DTranspose Conv3DTranspose Convolution2DTranspose DepthwiseConv1D
    DepthwiseConv2D SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D
    ConvLSTM1D ConvLSTM2D ConvLSTM3D Dense EinsumDense Embedding BatchNormalization
    SyncBatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization
    SpectralNormalization Normalization Rescaling Resizing CenterCrop MaxPooling1D MaxPooling2D
    MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D MaxPool1D MaxPool2D MaxPool3D
    AvgPool1D AvgPool2D AvgPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPool1D GlobalMaxPool2D
    GlobalAvgPool1D GlobalAvgPool2D AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
    ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D Add Subtract Multiply Average Maximum
    Minimum Concatenate Dot Reshape Permute Flatten RepeatVector Masking Activation ReLU LeakyReLU PReLU
    ELU ThresholdedReLU Softmax Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout
    GaussianDropout GaussianNoise ActivityRegularization Attention AdditiveAttention MultiHeadAttention
    GroupQueryAttention GroupedQueryAttention TimeDistributed Bidirectional RNN LSTM LSTMCell GRU
    GRUCell SimpleRNN SimpleRNNCell StackedRNNCells RandomFlip RandomRotation RandomZoom
    RandomTranslation RandomContrast RandomBrightness RandomCrop
    """
)
# What a functional model of Keras 3 stores for ``keras.ops`` calls and for operators of tensors.
_OPS = names_in(
    """
    Absolute Abs Add All Amax Amin Any Arange Arccos Arcsin Arctan Arctan2 Argmax Argmin Argsort Average
    BroadcastTo Ceil Clip Concatenate Copy Cos Cosh CountNonzero Cross Cumprod Cumsum Diff Divide
    DivideNoNan Dot Einsum Equal Exp ExpandDims Expm1 Flip Floor FloorDivide Full FullLike GetItem
    Greater GreaterEqual Isfinite Isinf Isnan Less LessEqual Linspace Log Log10 Log1p Log2 Logaddexp
    LogicalAnd LogicalNot LogicalOr LogicalXor Matmul Max Maximum Mean Median Meshgrid Min Minimum Mod
    Moveaxis Multiply NanToNum Negative NotEqual OnesLike Outer Pad Power Prod Ravel Reciprocal Repeat
    Reshape Roll Round Sign Sin Sinh Sort Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes Take
    TakeAlongAxis Tan Tanh Tensordot Tile Transpose Tril Triu TrueDivide Var Vstack Hstack Where
    ZerosLike Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign SoftShrink Silu LogSigmoid LeakyRelu
    HardSigmoid HardSilu Elu Selu Gelu Celu Glu TanhShrink HardTanh HardShrink Threshold Softmax
    LogSoftmax MaxPool AveragePool Conv DepthwiseConv SeparableConv ConvTranspose OneHot Moments
    BatchNorm Normalize DotProductAttention RMSNorm LayerNorm DepthToSpace SpaceToDepth Cast
    SaturateCast StopGradient Slice SliceUpdate Unstack ConvertToTensor RGBToGrayscale Resize PadImages
    CropImages ExtractPatches TopK Logsumexp Rsqrt Erf
    """
)
_INITIALIZERS = names_in(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform IdentityInitializer LecunNormal LecunUniform
    Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling
    Zeros BilinearWeights
    """
)
_REGULARIZERS = names_in("L1 L1L2 L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm")
_POLICIES = names_in("DTypePolicy FloatDTypePolicy Policy")
# How Keras 3 writes tensors, numpy arrays and slices down.
_VALUES = names_in("__keras_tensor__ __tensor__ __numpy__ __ellipsis__ __slice__")
_CLASSES = _LAYERS | _OPS | _INITIALIZERS | _REGULARIZERS | _POLICIES | _VALUES
_FUNCTIONS = names_in(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
    linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
    softsign sparse_sigmoid swish Swish swish1 tanh tanh_shrink threshold
    """
)
# Spellings of initializers and the like as plain text.
_NAMED = names_in(
    """
    constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform
    normal one ones orthogonal random_normal random_uniform truncated_normal uniform variance_scaling
    zero zeros l1 l1_l2 l1l2 l2 max_norm min_max_norm non_neg unit_norm
    """
)
_DTYPES = names_in(
    """
    float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool
    mixed_float16 mixed_bfloat16 float int
    """
)
_MODULE = re.compile(
    r"(tf_)?keras(\.src)?(\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies|ops"
    r"|engine|mixed_precision)(\.[a-z0-9_]+){0,3})?"
)
_ACTIVATION_KEYS = names_in("activation recurrent_activation")
_NAMED_KEYS = ("initializer", "regularizer", "constraint")
# Settings by which Keras layers read files, wherever they stand.
_FILE_KEYS = names_in("vocabulary idf_weights file filename filepath path file_path directory")
_TEXT_LIMIT = 4096
_CONFIG_LIMIT_BYTES = 8 << 20
# Brackets within brackets; a model in a model in a wrapper needs some thirty.
_DEEPEST = 120
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ADVICE = "Replace it by plain Keras layers, or export the model to ONNX."


def read_keras_config(text: bytes, name: str) -> dict[str, Any]:
    """Reads the JSON of a configuration within bounds, judges it, and leaves out how to train the model.

    Raises:
        ModelError: It is no JSON, too large or too deep, or names what is not allowed.
    """
    config = read_json(text, name)
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError(f"{name} is a Keras file whose configuration is damaged: it names no model.")
    pending: list[Any] = [config]
    while pending:
        entry = pending.pop()
        if isinstance(entry, dict):
            if "class_name" in entry:
                # Optimizers and losses are not needed, and their names are not on the lists.
                entry.pop("compile_config", None)
                _judge_object(entry, name)
            for key, value in entry.items():
                _judge_setting(key, value, name)
            pending.extend(entry.values())
        elif isinstance(entry, list):
            pending.extend(entry)
        elif isinstance(entry, str) and len(entry) > _TEXT_LIMIT:
            raise ModelError(f"{name} has a setting of {len(entry)} characters; {_TEXT_LIMIT} are taken.")
    return config


def read_json(text: bytes, name: str) -> Any:
    """Reads JSON of bounded size and depth, without keys that stand twice.

    Raises:
        ModelError: It is no such JSON.
    """
    if len(text) > _CONFIG_LIMIT_BYTES:
        raise ModelError(
            f"{name} is a Keras file with {len(text) >> 20} MiB of configuration, expected at most "
            f"{_CONFIG_LIMIT_BYTES >> 20} MiB."
        )
    if _depth(text) > _DEEPEST:
        raise ModelError(
            f"{name} is a Keras file whose configuration is damaged: over {_DEEPEST} levels deep."
        )
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as problem:
        raise ModelError(f"{name} is a Keras file whose configuration is damaged.") from problem


def _depth(text: bytes) -> int:
    depth = deepest = 0
    for byte in re.findall(rb"[\[\]{}]", _QUOTED.sub(b"", text)):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _judge_object(entry: dict[str, Any], name: str) -> None:
    kind, module, config = entry["class_name"], entry.get("module"), entry.get("config")
    if kind == "function":
        kind, allowed = config, _FUNCTIONS
    else:
        allowed = _CLASSES
    if module is not None and not (
        isinstance(module, str) and (_MODULE.fullmatch(module) or (module, entry["class_name"]) == _BUILTIN)
    ):
        raise ModelError(
            f"{name} needs {str(kind)[:80]!r} of {str(module)[:80]!r}, which is not part of Keras.",
            "Export the model to ONNX or to a SavedModel.",
        )
    if not isinstance(kind, str) or kind not in allowed:
        what = kind if isinstance(kind, str) else type(kind).__name__
        raise ModelError(
            f"{name} needs {what[:80]!r}, which is not among the allowed Keras layers and functions; "
            "edgepose never runs code of a model.",
            _ADVICE,
        )
    registered = entry.get("registered_name")
    if registered is not None and not (
        isinstance(registered, str) and registered in {kind, entry["class_name"]}
    ):
        raise ModelError(
            f"{name} has a {kind} by the name {str(registered)[:80]!r}, not a class of Keras.", _ADVICE
        )


# How Keras writes a plain activation function down.
_BUILTIN = ("builtins", "function")


def _judge_setting(key: str, value: Any, name: str) -> None:
    if not isinstance(value, str):
        return
    if key in _FILE_KEYS:
        raise ModelError(f"{name} names a file ({key}), which edgepose does not read.", _ADVICE)
    if key in _ACTIVATION_KEYS:
        allowed = _FUNCTIONS | _CLASSES
    elif key.endswith(_NAMED_KEYS):
        allowed = _NAMED | _INITIALIZERS | _REGULARIZERS
    elif key == "dtype":
        allowed = _DTYPES
    else:
        return
    if value not in allowed:
        raise ModelError(f"{name} has the {key} {value[:80]!r}, which edgepose does not allow.", _ADVICE)
