"""Why a name has nobody behind it: not installed, installed but broken, disabled, too old, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from aleator.plugins.plugin import Plugin, Status
from aleator.plugins.records import PluginRecord
from aleator.plugins.switches import Switches

__all__ = ["is_installed", "of_broken", "of_official", "of_third_party", "of_unfinished"]


def is_installed(distribution: str) -> bool:
    """Tell whether a distribution is installed, plugin or not."""
    try:
        return bool(metadata.distribution(distribution))
    except metadata.PackageNotFoundError:
        return False


def of_official(name: str, provider: str, own: Sequence[Plugin], switches: Switches) -> str:
    """Explain an official name that no healthy plugin provides."""
    provided = f"{name} is provided by {provider}"
    if any(plugin.status is Status.DISABLED for plugin in own):
        return f"{provided}, which is installed and disabled by {switches.disable_text}; take it off that list"
    if own:
        return f"{provided}, but {own[0].record.label} does not offer it; run: pip install --upgrade {provider}"
    if is_installed(provider):
        return (
            f"{provided}, which is installed without its entry point; "
            f"run: pip install --force-reinstall --no-deps {provider}"
        )
    return f"{provided}; run: pip install {provider}"


def of_broken(name: str, plugin: Plugin) -> str:
    """Explain an official name whose plugin is installed and failed."""
    reasons = "; ".join(failure.reason for failure in plugin.failures)
    return (
        f"{name} is provided by {plugin.record.label}, which is installed but broken: {reasons}; "
        f"'python -m aleator.plugins -v' shows more"
    )


def of_unfinished(name: str, record: PluginRecord) -> str:
    """Explain an official name that its own plugin asks for while it is imported."""
    return f"{name} is provided by {record.label}, which asks for it while it is itself being loaded"


def of_third_party(name: str, plugins: Sequence[Plugin], switches: Switches, hint: str) -> str:
    """Explain a name that no plugin registers, with everything that could be the reason."""
    text = f"no plugin registers {name!r}{hint}"
    failed = [plugin for plugin in plugins if plugin.failures]
    if failed:
        text += "; failed: " + ", ".join(f"{plugin.record.label}: {plugin.failures[0].reason}" for plugin in failed)
    disabled = [plugin.record.distribution for plugin in plugins if plugin.status is Status.DISABLED]
    if disabled:
        text += f"; disabled by {switches.disable_text}: {', '.join(disabled)}"
    return f"{text}; 'python -m aleator.plugins' lists what is installed"
