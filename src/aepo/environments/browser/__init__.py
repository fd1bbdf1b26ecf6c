"""A browser as an environment: pages are seen as text with numbered elements (`docs/browser.md`)."""

try:
    from aepo.environments.browser.environment import Browser
    from aepo.environments.browser.serve import serve
except ImportError as error:
    raise ImportError("a browser as an environment needs the extra: pip install 'aepo-rl[browser]'") from error

__all__ = ["Browser", "serve"]
