export default async (n) => n * 2;
