"""NumPy functions as XLA custom calls on the CPU, without compiled code.

XLA calls a C function with a call frame that points at the argument and result
buffers. ctypes makes a Python function into such a C function, which sees the
buffers as NumPy arrays without a copy. Unlike `jax.pure_callback`, the call takes
no detour through JAX arrays, and a program that contains it may be stored in the
persistent compilation cache.

The structures mirror `xla/ffi/api/c_api.h`, as installed in `jaxlib/include`,
major version 0. Each carries its size, which is compared before use.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

NumpyFunction = Callable[..., None]
"""Takes the argument arrays (read-only), then the result arrays to write into.

It must not keep any of them: their memory is XLA's once it returns.
"""

_MAJOR_VERSION = 0
_INTERNAL_ERROR = 13
_EXECUTE_STAGE = 3
_DTYPES = {
    1: np.dtype(np.bool_),
    4: np.dtype(np.int32),
    5: np.dtype(np.int64),
    8: np.dtype(np.uint32),
    9: np.dtype(np.uint64),
    11: np.dtype(np.float32),
    12: np.dtype(np.float64),
}


def _structure(name: str, **fields: Any) -> type[ctypes.Structure]:
    """Returns a structure that begins with its size and extension, as all of them do."""
    header = [("struct_size", ctypes.c_size_t), ("extension", ctypes.c_void_p)]
    return type(name, (ctypes.Structure,), {"_fields_": [*header, *fields.items()]})


_Version = _structure("Version", major=ctypes.c_int, minor=ctypes.c_int)
_Api = _structure("Api", version=_Version, internal=ctypes.c_void_p, error_create=ctypes.c_void_p)
_ErrorArgs = _structure("ErrorArgs", message=ctypes.c_char_p, code=ctypes.c_int)
_Buffer = _structure(
    "Buffer",
    dtype=ctypes.c_int,
    data=ctypes.c_void_p,
    rank=ctypes.c_int64,
    dims=ctypes.POINTER(ctypes.c_int64),
)
_Buffers = _structure(
    "Buffers",
    size=ctypes.c_int64,
    types=ctypes.c_void_p,
    items=ctypes.POINTER(ctypes.POINTER(_Buffer)),
)
_CallFrame = _structure(
    "CallFrame",
    api=ctypes.POINTER(_Api),
    context=ctypes.c_void_p,
    stage=ctypes.c_int,
    arguments=_Buffers,
    results=_Buffers,
)


class _Metadata(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("version", _Version)]


class _MetadataExtension(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("metadata", ctypes.POINTER(_Metadata)),
    ]


_Handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_CallFrame))
_ErrorCreate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ErrorArgs))

_functions: dict[str, NumpyFunction] = {}
_handlers: dict[str, Any] = {}  # kept alive: XLA holds their addresses for good
_exiting = threading.Event()


def register_cpu_function(name: str, function: NumpyFunction) -> None:
    """Makes `function` the custom call `name` of this process.

    A compiled program refers to the function by name, also from the persistent
    cache in a later process: equal names must mean equal results. A second
    registration of a name replaces the function.

    Args:
        name: the custom call's target.
        function: is called with one array per argument and result; an exception in
            it fails the program with `jax.errors.JaxRuntimeError`.
    """
    _functions[name] = function
    if name not in _handlers:
        _handlers[name] = _Handler(functools.partial(_handle, name))
        address = ctypes.cast(_handlers[name], ctypes.c_void_p).value
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(address), platform="cpu")


def call_cpu_function(
    name: str, results: tuple[jax.ShapeDtypeStruct, ...], *arguments: jax.Array
) -> tuple[jax.Array, ...]:
    """Calls a registered function from traced code.

    Under `jax.vmap` the function is called once: every argument and result has the
    batch axes in front.
    """
    call = jax.ffi.ffi_call(name, results, vmap_method="broadcast_all")
    return tuple(call(*arguments))


@atexit.register
def _finish_programs() -> None:
    """Ends programs in flight: a call into an interpreter that is gone would crash."""
    _exiting.set()
    for array in jax.live_arrays():
        with contextlib.suppress(RuntimeError):
            array.block_until_ready()


def _handle(name: str, pointer: Any) -> int | None:
    """Serves one call; returns the address of an XLA_FFI_Error, or None for success."""
    frame = pointer.contents
    try:
        if frame.extension:
            _describe(frame)
        elif frame.stage == _EXECUTE_STAGE:
            if _exiting.is_set():
                raise RuntimeError("the interpreter is shutting down")
            _functions[name](*_arrays(frame.arguments, False), *_arrays(frame.results, True))
    except BaseException as error:  # nothing may propagate into C, not even an interrupt
        return _error(frame, f"{name}: {type(error).__name__}: {error}")
    return None


def _describe(frame: Any) -> None:
    """Answers XLA's question for the interface version with its own minor version."""
    extension = ctypes.cast(frame.extension, ctypes.POINTER(_MetadataExtension)).contents
    version = extension.metadata.contents.version
    version.major = _MAJOR_VERSION
    version.minor = frame.api.contents.version.minor


def _arrays(buffers: Any, writeable: bool) -> Iterator[np.ndarray]:
    if buffers.struct_size != ctypes.sizeof(_Buffers):
        raise RuntimeError("this JAX release lays out XLA FFI call frames in another way")
    for index in range(buffers.size):
        yield _array(buffers.items[index].contents, writeable)


def _array(buffer: Any, writeable: bool) -> np.ndarray:
    shape = tuple(buffer.dims[: buffer.rank])
    dtype = _DTYPES[buffer.dtype]
    if 0 in shape:
        return np.empty(shape, dtype)
    size = dtype.itemsize
    for length in shape:
        size *= length
    memory = memoryview(_bytes(size).from_address(buffer.data))
    array = np.frombuffer(memory, dtype).reshape(shape)
    array.flags.writeable = writeable
    return array


@functools.cache
def _bytes(size: int) -> type[ctypes.Array[ctypes.c_byte]]:
    return ctypes.c_byte * size


def _error(frame: Any, message: str) -> int | None:
    arguments = _ErrorArgs(
        struct_size=ctypes.sizeof(_ErrorArgs), message=message.encode(), code=_INTERNAL_ERROR
    )
    create = _ErrorCreate(frame.api.contents.error_create)
    address: int | None = create(ctypes.byref(arguments))
    return address
