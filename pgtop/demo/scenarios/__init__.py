"""The scenarios of the demo: applications that bring about each cause that `pgtop diagnose` names.

`catalogue` lists them without the driver. Each other module plays one, in the process of the workload; its
`play` works until the process ends. They use clients and schema, and know nothing of pgtop's own rules.
"""
