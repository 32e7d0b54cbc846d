"""The scenario language: YAML files, checked, with the place of every error."""
