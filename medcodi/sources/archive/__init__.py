"""Trees of image files, whatever their format: walk, read in worker processes, group to studies,
write."""
