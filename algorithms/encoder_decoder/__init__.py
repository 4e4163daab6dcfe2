"""What GoRL is made of: an encoder, a decoder, and its fit."""
