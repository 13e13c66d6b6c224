"""The versions are said in one place; the files that must repeat them agree."""

from otel_dns.lab.programs import PROGRAMS, versions
from otel_dns.lab.programs.catalog import OwnModule


def test_the_go_mod_files_require_the_versions() -> None:
    expected = {"jaeger": versions.JAEGER_MODULE, "prometheus": versions.PROMETHEUS_MODULE}
    for name, version in expected.items():
        recipe = PROGRAMS[name].recipe
        assert isinstance(recipe, OwnModule)
        module = recipe.package.removesuffix(f"/cmd/{name}")
        assert f"require {module} v{version}\n" in (recipe.folder / "go.mod").read_text()
        assert f"{module} v{version} h1:" in (recipe.folder / "go.sum").read_text()
