"""Encoded images: their headers, and their pixels. Owns the image decoders; opens no file and knows no frame."""
