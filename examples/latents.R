# Latents in R:  Rscript examples/latents.R latents.csv
#
# The table is written by: aetool export latents.h5 latents.csv
# Its columns are path, label, and the numbers f0, f1 and so on; a cell without a
# label is empty. (Of an .h5 with many rows the .parquet is smaller: arrow reads it.)

latents <- read.csv(commandArgs(trailingOnly = TRUE)[1], encoding = "UTF-8")
features <- as.matrix(latents[, grepl("^f[0-9]+$", names(latents))])
projected <- prcomp(features)$x[, 1:2]
print(table(latents$label))
print(head(data.frame(path = latents$path, projected)))
