"""Entry point for tools that call setup.py; everything else is in pyproject.toml."""

from setuptools import setup

setup()
