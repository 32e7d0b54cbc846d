"""The last mile: how long a viewer's receivers should hold sound and pictures, by what that viewer reports."""
