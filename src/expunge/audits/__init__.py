"""What is measured: forgetting compared with retraining."""
