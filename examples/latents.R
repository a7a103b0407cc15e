# Latents in R:  Rscript examples/latents.R latents.parquet
#
# The table is written by: aetool export latents.h5 latents.parquet
# (read.csv reads the .csv as well, path, label, f0, f1 and so on.)

library(arrow)

latents <- read_parquet(commandArgs(trailingOnly = TRUE)[1])
features <- do.call(rbind, lapply(latents$features, as.numeric))
projected <- prcomp(features)$x[, 1:2]
print(table(latents$label))
print(head(data.frame(path = latents$path, projected)))
