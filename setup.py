"""Build the compiled kernels; everything else about the package is in pyproject.toml."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Vectorising square roots needs errno and trap semantics out of the way; results stay IEEE.
# Without fused multiply-adds every instruction set gives the same bits, and nothing measurable is slower but networks.
# 512-bit vectors are only used where a multi-versioned function is entered on a machine that has them.
WANTED_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math"]
FUSED, UNFUSED = "-ffp-contract=fast", "-ffp-contract=off"
FUSING = {"predictd._ext.networks"}
X86_FLAGS = ["-mprefer-vector-width=512"]


class BuildKernels(build_ext):
    """Compile with those of the wanted flags that this compiler takes, several files at a time."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or True

    def build_extensions(self) -> None:
        wanted = WANTED_FLAGS + (X86_FLAGS if platform.machine() in ("x86_64", "AMD64") else [])
        accepted = [flag for flag in (*wanted, FUSED, UNFUSED) if self._accepts(flag)]
        for extension in self.extensions:
            unwanted = UNFUSED if extension.name in FUSING else FUSED
            extension.extra_compile_args = [flag for flag in accepted if flag != unwanted]
        super().build_extensions()

    def _accepts(self, flag: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.c")
            probe.write_text("int probe(int x) { return x + 1; }\n")
            try:
                self.compiler.compile([str(probe)], output_dir=folder, extra_postargs=["-Werror", flag])
            except Exception:  # each compiler class raises its own error; any of them means "not this flag"
                return False
        return True


def extension(name: str, *sources: str) -> Extension:
    headers = sorted(str(path) for path in Path("ext").glob("*.h"))
    return Extension(f"predictd._ext.{name}", [f"ext/{source}" for source in sources], depends=headers)


setup(
    ext_modules=cythonize(
        [
            extension("half", "half.pyx", "half_core.c"),
            extension("networks", "networks.pyx", "networks_core.c", "networks_wide_core.c"),
            extension("scores", "scores.pyx", "scores_core.c"),
            extension("sgd", "sgd.pyx", "sgd_core.c"),
            extension("trees", "trees.pyx", "trees_core.c", "boost_core.c"),
            extension("windows", "windows.pyx", "windows_core.c"),
        ]
    ),
    cmdclass={"build_ext": BuildKernels},
)
