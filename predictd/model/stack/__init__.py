"""The stack: predictors of missing tracks that read second moments alone, weighed by how well they do on known ones.

`tracks` are what predictors read; `scales` predicts mean and standard deviation of a missing track; `members` are the
predictors: the same-assay mean, donors, kriging (`pooling` pools its correlations) and EM; `weights` weighs them.
`stack.StackModel` is the result, `inputs` and `networks` what small neural networks add to it.
"""
