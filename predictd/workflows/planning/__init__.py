"""What a job will take: pure arithmetic on its shape, measured rates and prices, and the measuring of rates."""
