"""Compile StableHLO for one core of a TPU. The parent process runs this module as a separate process.

  python -m hamgan.tpu_check.compile_stablehlo STEP.mlir v5e:2x4 RESULT.json PROGRAM.pb

Needs jax and libtpu, but no TPU. RESULT.json holds the compiler's statistics or its error, and PROGRAM.pb the compiled
program, a serialized HloModuleProto.
"""

import json
import os
import sys


def main(source: str, topology: str, result: str, program: str) -> None:
    """Compiles a program and writes the result.

    Args:
        source: path of the StableHLO text.
        topology: name of the slice.
        result: path of the JSON file to write.
        program: path of the compiled program to write.
    """
    # Do not search for TPUs: querying Google's metadata server takes minutes. Without one, several processes can load
    # libtpu.
    os.environ.update(TPU_SKIP_MDS_QUERY="1", JAX_PLATFORMS="cpu", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    import jax
    import numpy as np
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax.experimental import topologies
    from jaxlib.mlir import ir

    try:
        device = topologies.get_topology_desc(topology_name=topology, platform="tpu").devices[0]
        options = compiler.get_compile_options(
            num_replicas=1, num_partitions=1, device_assignment=np.array([[device]]), backend=device.client
        )
        with open(source, encoding="utf-8") as file, mlir.make_ir_context():
            module = ir.Module.parse(file.read())
            executable = device.client.compile(module, xla_client.DeviceList((device,)), options)
        memory = executable.get_compiled_memory_stats()
        costs = executable.cost_analysis()
        costs = costs[0] if isinstance(costs, list) else costs
        statistics = {
            "argument_bytes": memory.argument_size_in_bytes,
            "output_bytes": memory.output_size_in_bytes,
            "aliased_bytes": memory.alias_size_in_bytes,
            "temporary_bytes": memory.temp_size_in_bytes,
            "code_bytes": memory.generated_code_size_in_bytes,
            "flops": costs["flops"],
        }
        with open(program, "wb") as file:
            file.write(executable.hlo_modules()[0].as_serialized_hlo_module_proto())
    except (jax.errors.JaxRuntimeError, ir.MLIRError, ValueError) as error:
        statistics = {"error": str(error)}
    with open(result, "w", encoding="utf-8") as file:
        json.dump(statistics, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
