"""The files of EVF-SAM's authors and of the models that it builds on.

| question | file |
|---|---|
| Is this a release, and which one? | `releases` |
| What does its config.json say? | `settings` |
| What do the shapes of tensors say? | `sizes` |
| Which files of a repository are needed? | `downloads` |
| How is a weight file opened safely? | `reading` |
| What is a tensor called there and here? | `names` |
| How do tensors become ours, and theirs again? | `converting` |
| Where do the words come from? | `tokenizer` |
| How do published parts become a model? | `foundations` |
| How does a whole result come to be? | `release_conversion`, `tokenizer_conversion`, `writing`, `weights`, `card` |
"""
