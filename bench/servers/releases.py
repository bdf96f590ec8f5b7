"""The Triton releases that bench can install, and where each one's program comes from."""

from dataclasses import dataclass

from bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Release:
    """A Triton release and the wheel that carries its program."""

    ngc: str  # NVIDIA's monthly release, "24.07": also the tag of its image
    triton: str  # the server's own version, "2.48.0"
    wheel: str  # the version of nvidia-pytriton
    sha256: str  # of that wheel


RELEASES = (
    Release("23.07", "2.36.0", "0.3.0", "6a74ba94493d60c92bc2b1122a4338533dbd1b7bc703e2d7ff464d171e006bee"),
    Release("23.10", "2.39.0", "0.4.2", "8f79e8bda28961a49d5c64474c17664e10b1bb08018b7ee7bcbd81bcff86e266"),
    Release("23.12", "2.41.0", "0.5.0", "f46a3c03fb0893948f57c1d5470998a6f403f2c8036d7af944c817a8fba31a46"),
    Release("24.03", "2.44.0", "0.5.5", "986ee75b8fb67bba9e3b0058bd5ff3981b17be3b88e178b0b60971d89ba42a63"),
    Release("24.05", "2.46.0", "0.5.8", "cd3cdfb704db3a01f857adc97fea77d5413c9f9e89f9b7add91c9d16a0bec7f8"),
    Release("24.07", "2.48.0", "0.5.10", "0c08d905d25ad71e887864625ec9e2692e6cb4a746c32c93e332e5c8476bc669"),
    Release("24.10", "2.51.0", "0.7.0", "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"),
)
DEFAULT = "24.07"


def find(version: str) -> Release:
    """The release called `version`, by NVIDIA's month or the server's own version; "" is the default. UsageError lists them."""
    for release in RELEASES:
        if (version or DEFAULT) in (release.ngc, release.triton):
            return release
    known = ", ".join(f"{release.ngc} ({release.triton})" for release in RELEASES)
    raise UsageError(f"Triton {version!r}: bench cannot install this version; there are: {known}")
