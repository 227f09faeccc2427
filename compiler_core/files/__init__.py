"""Files that users name: read without waiting, written whole, and folders for a while."""
