"""Policy gradients: environments, rollouts, and what adapts and betters a policy.

How it flows. Shapes: T tasks, R episodes of each, H steps of an episode, M steps taken in all of
them (R*H where none ends early), which are the examples, D observation values, A action values.

A dataset of this package (`Control`) gives tasks without examples: both sides are `Rollouts`, which
know the goals and the seeds. A policy that is given to them acts, and what it met comes back as
ordinary `Examples`: x [T, M, D] are observations, y [T, M, A + 4] what was done and how well that
was (`Experience`). The objective (`PolicyGradient`) makes a loss of outputs and y, as any other
objective does, so that the inner loops of MAML and Reptile are the ones that classify images.

An outer step first gathers (`gathering.gathered`): the learner adapts once without a graph, acting
before each inner step and after the last, and all that is kept. On these examples, which are fixed
from here on, the meta-gradient is taken as for any other task; and because they are fixed, the
outer optimiser `trpo` may ask again and again what another step would have made of them.
"""
