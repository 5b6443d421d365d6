"""Policy gradients: environments, rollouts, the objective, and the optimiser TRPO.

Data flow. Shapes: T tasks, R episodes per task, H steps per episode, M steps in all episodes of a
task (R*H if none ends early), which are its examples, D observation values, A action values.

A dataset of this package (`Control`) yields tasks without examples: support and query are both
`Rollouts`, which hold the goals and the seeds. Called with a policy's parameters, they act and
return ordinary `Examples`: x [T, M, D] holds the observations, y [T, M, A + 4] the actions and how
good they were (`Experience`). The objective (`PolicyGradient`) computes a loss from outputs and y
like any other objective, so policies and image classifiers share the inner loops.

An outer step first gathers experience (`gathering.gathered`): the learner adapts once without a
graph, acts before each inner step and after the last, and records everything. The meta-gradient is
then computed on these fixed examples as for any other task. Because they are fixed, the outer
optimiser `trpo` can evaluate as many candidate steps on them as it needs.
"""
