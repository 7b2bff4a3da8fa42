"""What a job will take, before it is begun.

`plan.make_plan` estimates a job (its `stages`: `fits` and `predictions`) on a tensor's `shape` at some `rates` and
`prices`, on machines (`places`).
`calibrate.rates_of` reads rates off past runs; `calibrate.calibrate` makes a small run of its own.
"""
