"""Files that other systems need to run the jobs, written from what is known of them."""
